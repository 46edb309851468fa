"""Trains any masked LM of transformers: applies its head to selected rows, and makes its training faster."""
