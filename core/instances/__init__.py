"""From a score map to single objects: watershed, region merging, clicks, and scores."""
