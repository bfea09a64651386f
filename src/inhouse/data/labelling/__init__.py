"""Labelling: queues of rows for people to judge, with a model's guess beside them."""
