"""Training: molecules to pictures, pictures to weights. Needs the train extra."""
