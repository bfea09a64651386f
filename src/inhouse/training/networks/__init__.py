"""The networks behind the recipes. Only these and what the recipes load lazily import torch at the top."""
