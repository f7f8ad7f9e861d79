"""When a detection counts as an object of the truth."""

OUTLINE_IOU, BOX_IOU = 0.5, 0.3  # least IoU of a match; small boxes differ much by a pixel
HALF = 0.5  # share of a detection, or of an object, from which on the one lies on the other
