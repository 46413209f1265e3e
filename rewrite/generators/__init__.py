"""A latent becomes an image, in named layers."""
