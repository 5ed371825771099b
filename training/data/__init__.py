"""Data sets, annotator votes, augmentation and class balance."""
