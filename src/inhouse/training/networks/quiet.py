"""Silence where libraries would warn of what nobody here can change."""

import warnings
from collections.abc import Generator
from contextlib import contextmanager

from transformers.utils import logging


@contextmanager
def quiet() -> Generator[None]:
    """No warnings and no progress bars of transformers and peft, until the block ends."""
    said, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(said)
        if bars:
            logging.enable_progress_bar()
