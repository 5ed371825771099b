"""The dataset, annotator votes, augmentation and class balance."""
