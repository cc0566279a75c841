"""How far a metric varies over images: the weighted bootstrap, of one model and of two."""
