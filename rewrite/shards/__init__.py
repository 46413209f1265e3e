"""Work over many numbered images, cut into shards that other processes and machines do."""
