"""Where label maps come from: networks that segment, scenes that know what they show, folders of labelled pictures."""
