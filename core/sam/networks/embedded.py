"""Architecture of the embedded model: a small SAM for overhead images.

Segment-anything's own prompt encoder and mask decoder (width 128) around a
light convolutional image encoder of stride 16. It keeps SAM's interface, so
``SamPredictor`` and the automatic mask generator run on it unchanged.
"""

from __future__ import annotations

import timm
import torch
from segment_anything.modeling import PromptEncoder, Sam
from timm.layers import LayerNorm2d
from torch import Tensor, nn
from torch.nn import functional as F

from core.sam.geometry import CELL, SIDE
from core.sam.networks.mask_decoder import build_prompt_encoder_and_mask_decoder
from core.sam.networks.quality import PREFIX as QUALITY_HEAD
from core.sam.networks.quality import QualityHead

WIDTH = 128  # channels of the embedding, and of every prompt token
PIXEL_MEAN, PIXEL_STD = 127.0, 128.0  # of EfficientNet-Lite, instead of SAM's
SEMANTIC_HEAD, BOX_HEAD = (
    "semantic_head.",
    "box_head.",
)  # what the names of their weights begin with in a file
FOURIER_SCALE = 4.0  # published SAM: 1; finer position codes localise sooner in short trainings


class ContextBlock(nn.Module):
    """ConvNeXt block: lets a cell see its neighbourhood (7 x 7 cells = 112 canvas pixels)."""

    def __init__(self, width: int):
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.GroupNorm(1, width)
        self.mlp = nn.Sequential(nn.Conv2d(width, 3 * width, 1), nn.GELU(), nn.Conv2d(3 * width, width, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.mlp(self.norm(self.depthwise(x)))


class WideContext(nn.Module):
    """Lets a cell see most of the canvas: blocks as above, on patches of 64 x 64 canvas pixels.

    The middle of a large flat roof looks like a paved yard; its edges and its
    shadow, which tell the two apart, are hundreds of pixels away. SAM's decoder
    has no attention among the image's cells that could carry that.
    """

    CELLS = 4  # along a patch's side

    def __init__(self, width: int):
        super().__init__()
        self.down = nn.Conv2d(width, width, self.CELLS, stride=self.CELLS)
        self.blocks = nn.Sequential(*(ContextBlock(width) for _ in range(3)))
        self.up = nn.Conv2d(width, width, 1)
        nn.init.zeros_(self.up.weight)  # begins as if it were not there
        nn.init.zeros_(self.up.bias)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        whole = F.pad(x, (0, -width % self.CELLS, 0, -height % self.CELLS), mode="replicate")
        wide = self.up(self.blocks(self.down(whole)))
        fine = F.interpolate(wide, scale_factor=self.CELLS, mode="bilinear", align_corners=False)
        return x + fine[..., :height, :width]


class ConvEncoder(nn.Module):
    """Image encoder: EfficientNet-Lite0's feature maps fused at stride 16.

    Parameters
    ----------
    img_size : int
        Side of the canvas that ``Sam.preprocess`` pads to, in canvas pixels.
    width : int
        Channels of the embedding.
    """

    def __init__(self, img_size: int = SIDE, width: int = WIDTH):
        super().__init__()
        self.img_size = img_size  # read by Sam.preprocess and SamPredictor
        self.backbone = timm.create_model("tf_efficientnet_lite0", pretrained=False, features_only=True)
        _, c4, c8, c16, c32 = self.backbone.feature_info.channels()
        # Stride 4 and 8 are folded down rather than dropped: a vehicle's outline lives there.
        self.from_4 = nn.Conv2d(c4, width, 4, stride=4)
        self.from_8 = nn.Conv2d(c8, width, 2, stride=2)
        self.from_16 = nn.Conv2d(c16, width, 1)
        self.from_32 = nn.Conv2d(c32, width, 1)
        self.wide = WideContext(width)
        self.context = nn.Sequential(*(ContextBlock(width) for _ in range(3)))
        self.neck = nn.Sequential(nn.Conv2d(width, width, 1), LayerNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        """Embed images of shape (B, 3, H, W), H and W multiples of 16, to (B, width, H/16, W/16)."""
        return self.neck(self.context(self.wide(self.fuse(self.backbone(x)[1:]))))

    def fuse(self, maps: list[Tensor]) -> Tensor:
        """Add up the backbone's feature maps at strides 4, 8, 16 and 32, at stride 16."""
        # What the scales add nearly cancels out: rounded to half precision, much of the sum is noise
        with torch.autocast(maps[0].device.type, enabled=False):
            f4, f8, f16, f32 = (scale.float() for scale in maps)
            fused = self.from_4(f4) + self.from_8(f8) + self.from_16(f16)
            return fused + F.interpolate(self.from_32(f32), size=fused.shape[-2:], mode="nearest")


class MappedPromptEncoder(PromptEncoder):
    """SAM's prompt encoder that also draws the prompts into the dense embedding.

    Sparse point tokens alone do not learn to localise in a short training; a
    small convolution over a map of where the prompts are does, as in networks
    for interactive segmentation. Channels: positive points and negative points
    as Gaussian discs, and the inside of the box. ``forward`` is SAM's.
    """

    CELLS_PER_EMBEDDING_CELL = 4  # the map's resolution: 4 canvas pixels
    DISC_SIGMA_CANVAS = 6.0  # canvas pixels

    def __init__(self, embed_dim: int, image_embedding_size, input_image_size, mask_in_chans: int):
        super().__init__(embed_dim, image_embedding_size, input_image_size, mask_in_chans)
        self.prompt_map = nn.Sequential(
            nn.Conv2d(3, 24, 4, stride=4),
            nn.GELU(),
            nn.Conv2d(24, 64, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(64, embed_dim, 3, padding=1),
        )

    def draw(self, points, boxes, cells: tuple[int, int], origin_canvas=(0.0, 0.0)) -> Tensor:
        """Draw prompts as a map.

        Parameters
        ----------
        points : tuple of Tensor or None
            Coordinates (B, N, 2) as x, y, indices of canvas pixels as SAM takes
            them (0 is the first pixel's centre), and labels (B, N):
            1 positive, 0 negative, -1 none.
        boxes : Tensor or None
            (B, 4) as x0, y0, x1, y1 in canvas pixels.
        cells : tuple of int
            Rows and columns of the embedding that the map covers.
        origin_canvas : tuple of float
            Canvas pixel (x, y) of the map's upper left corner; other than 0
            only in training on crops.

        Returns
        -------
        Tensor
            (B, 3, 4 * rows, 4 * columns), values 0 to 1.
        """
        channels = [
            torch.einsum("bny,bnx->byx", along_y, along_x).clamp(max=1)
            for along_y, along_x in self.factors(points, boxes, cells, origin_canvas)
        ]
        return torch.stack(channels, dim=1).to(self.prompt_map[0].weight.dtype)

    def factors(
        self, points, boxes, cells: tuple[int, int], origin_canvas=(0.0, 0.0)
    ) -> list[tuple[Tensor, Tensor]]:
        """What :meth:`draw` draws, with its arguments, as a sum of products of one factor for each axis.

        Returns
        -------
        list of tuple of Tensor
            For each channel factors along y (B, n, 4 * rows) and x (B, n, 4 * columns), 0 or more;
            where a sum of their products is above 1, the map is 1.
        """
        weight, n = self.prompt_map[0].weight, self.CELLS_PER_EMBEDDING_CELL
        pitch = CELL / n
        rows = (torch.arange(cells[0] * n, device=weight.device) + 0.5) * pitch + origin_canvas[1]
        columns = (torch.arange(cells[1] * n, device=weight.device) + 0.5) * pitch + origin_canvas[0]
        batch = points[0].shape[0] if points is not None else boxes.shape[0]
        nothing = rows.new_zeros(batch, 0, len(rows)), columns.new_zeros(batch, 0, len(columns))
        positive = negative = box = nothing
        if points is not None:
            coordinates, labels = points
            coordinates = (
                coordinates + 0.5
            )  # SAM's points are pixel indices; their centres lie half a pixel on
            along_x = torch.exp(-((columns - coordinates[..., :1]) ** 2) / (2 * self.DISC_SIGMA_CANVAS**2))
            along_y = torch.exp(-((rows - coordinates[..., 1:]) ** 2) / (2 * self.DISC_SIGMA_CANVAS**2))
            positive, negative = (
                (along_y * (labels == label).float()[..., None], along_x) for label in (1, 0)
            )
        if boxes is not None:
            x0, y0, x1, y1 = boxes.reshape(-1, 4)[:, :, None].unbind(1)
            inside_y = ((rows >= y0) & (rows <= y1)).float()
            inside_x = ((columns >= x0) & (columns <= x1)).float()
            box = inside_y[:, None], inside_x[:, None]
        return [positive, negative, box]

    def forward(self, points, boxes, masks) -> tuple[Tensor, Tensor]:
        """Embed prompts; see ``segment_anything.modeling.PromptEncoder.forward``."""
        sparse, dense = super().forward(points, boxes, masks)
        if points is None and boxes is None:
            return sparse, dense
        return sparse, dense + self.prompt_map(self.draw(points, boxes, self.image_embedding_size))


class SemanticHead(nn.Module):
    """What is where, and where it ends: a light head on the embedding, beside SAM's own decoder.

    Clicks on a roof are often answered with the whole row of roofs, so that they
    part touching buildings badly; where one ends is a question about the image
    alone, and so learned much sooner. So is whether a place is a roof at all.
    """

    CLASSES = ("other", "building", "vehicle")

    def __init__(self, width: int = WIDTH):
        super().__init__()
        self.layers = nn.Sequential(
            nn.ConvTranspose2d(width, width // 2, 2, stride=2),
            nn.GELU(),
            nn.ConvTranspose2d(width // 2, len(self.CLASSES) + 1, 2, stride=2),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Logits (B, 4, H/4, W/4), the classes' and last the border's, of embeddings (B, C, H/16, W/16)."""
        return self.layers(features)

    def answer(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Probabilities of the classes (B, 3, H/4, W/4), and that an object ends there (B, 1, H/4, W/4)."""
        logits = self(features)
        return logits[:, :-1].softmax(dim=1), logits[:, -1:].sigmoid()


class BoxHead(nn.Module):
    """How far the object at a place reaches: a light head on the embedding.

    As in FCOS (Tian et al., 2019, section 3.1), every place answers with its
    distances to the four sides of the bounding box of the object that it lies on.
    """

    UNIT_CANVAS = 32.0  # canvas pixels: what an answer of 0 means
    LIMIT = 4.0  # of an answer, either way: 0.6 to 1750 canvas pixels

    def __init__(self, width: int = WIDTH):
        super().__init__()
        self.layers = nn.Sequential(
            ContextBlock(width),  # where an object ends is a question about its neighbours too
            ContextBlock(width),
            nn.ConvTranspose2d(width, width // 2, 2, stride=2),
            nn.GELU(),
            nn.Conv2d(width // 2, 4, 1),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Distances (B, 4, H/8, W/8) to left, top, right and bottom, in canvas pixels, at pixel centres.

        The embedding is (B, width, H/16, W/16); the centre of place (row, column)
        is (8 * column + 4, 8 * row + 4) in continuous canvas pixels.
        """
        return self.layers(features).clamp(-self.LIMIT, self.LIMIT).exp() * self.UNIT_CANVAS


def build_embedded() -> Sam:
    """Build the embedded model with random weights, in evaluation mode."""
    sam = Sam(
        image_encoder=ConvEncoder(),
        **build_prompt_encoder_and_mask_decoder(WIDTH, 4 * WIDTH, MappedPromptEncoder),
        pixel_mean=[PIXEL_MEAN] * 3,
        pixel_std=[PIXEL_STD] * 3,
    )
    sam.prompt_encoder.pe_layer.positional_encoding_gaussian_matrix.mul_(FOURIER_SCALE)
    return sam.eval()


def pop_heads(state: dict[str, Tensor]) -> dict[str, nn.Module]:
    """Take the heads' weights out of a model file's and build those that the file has, by their names."""
    known = {SEMANTIC_HEAD: SemanticHead, BOX_HEAD: BoxHead, QUALITY_HEAD: QualityHead}
    taken = {prefix.rstrip("."): _take(state, prefix, kind) for prefix, kind in known.items()}
    return {name: head for name, head in taken.items() if head is not None}


def _take(state: dict[str, Tensor], prefix: str, kind: type[nn.Module]) -> nn.Module | None:
    names = [name for name in state if name.startswith(prefix)]
    if not names:
        return None
    head = kind()
    head.load_state_dict({name.removeprefix(prefix): state.pop(name) for name in names})
    return head.eval()
