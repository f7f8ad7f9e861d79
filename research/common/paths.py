"""Where the repository and its data lie, from whatever folder a command is run."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "resources" / "sample"
MODEL_FILE = ROOT / "resources" / "exemplar-embedded.safetensors"
BUILD = ROOT / "build" / "training"
DATA = ROOT.parent / "shared" / "data"
TRAINING_DATA, VALIDATION_DATA = DATA / "train", DATA / "validation"
