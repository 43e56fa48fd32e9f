"""Parts of `light-gcn`: the graph, the network that learns, the recommender that ranks."""
