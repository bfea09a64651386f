"""Own the models behind your AI apps."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inhouse.client import Client

__version__ = "0.1.0"
__all__ = ["Client", "__version__"]


def __getattr__(name: str) -> object:
    """Import the SDK only for those who use it."""
    if name == "Client":
        from inhouse.client import Client

        return Client
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
