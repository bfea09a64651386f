"""Own the models behind your AI apps."""

__version__ = "0.1.0"
