"""Parts of `bpr-mf`: triples, the network that learns, the recommender that ranks."""
