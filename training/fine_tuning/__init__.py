"""Fine-tuning of a shipped model on a labelled set of a user.

Modules:
    fine_tune: `fine_tune`, the entry point: restore, train, export, compare, write the card.
    recipe: The config of the run: the recipe, and the number of epochs for the number of images.
    comparison: The model before and after on the same test images, and what the test split can tell.
"""
