"""Any masked LM of transformers: chosen rows through its own head, and the parts that make its training faster."""
