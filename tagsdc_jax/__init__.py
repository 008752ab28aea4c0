"""TAGS-DC in JAX: image-text matching with tailored negative sentences."""

__version__ = '0.2.0.dev0'
