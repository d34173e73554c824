"""Models, one file per step: tokenizer, position, transformer, DSO, CAU, teacher, student, heads."""
