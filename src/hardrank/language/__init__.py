"""Language tools that whoever rewrites or judges text owns: thesaurus, neighbours, language
models. They know nothing of recommenders, and load from local files only."""
