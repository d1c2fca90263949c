"""Pictures from heat maps: colours, overlays, captions, grids, animations. Knows arrays, images and strings only."""
