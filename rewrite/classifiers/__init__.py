"""From a picture to the scores of classes: networks that read images, cut and resumed like generators."""
