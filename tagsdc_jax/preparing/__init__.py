"""Makes a prepared data set of what people have: captions, features, photos."""
