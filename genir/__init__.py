"""genir: generative retrieval, made practical."""

__version__ = "0.1.0"
