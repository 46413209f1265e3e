"""Pictures that no generator drew: the latent that draws them again, and a change of weights for one picture alone."""
