"""Parts of the recommender that asks a language model: prompts, answers, and what shields them."""
