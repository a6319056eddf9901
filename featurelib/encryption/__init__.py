"""Values at rest as AES-256-GCM cells, under data keys that a key of the environment wraps."""

from __future__ import annotations

from featurelib.encryption.cells import CellRefused, about_of
from featurelib.encryption.columns import opened_array, sealed_array
from featurelib.encryption.keys import MasterKey, master_key
from featurelib.encryption.rings import Keyring, NewKey, Wrapped, new_key

__all__ = [
    "CellRefused",
    "Keyring",
    "MasterKey",
    "NewKey",
    "Wrapped",
    "about_of",
    "master_key",
    "new_key",
    "opened_array",
    "sealed_array",
]
