"""Language tools that whoever rewrites or judges text owns; they know nothing of recommenders.

    wordnet     synonyms and hypernyms from an Open English WordNet on disk
    neighbours  words near a word in an encoder's space
    masked_lm   words that fit a place, by any local masked language model
    pretrain    a small masked language model of one catalogue's language
    ngram       how usual a text is: Kneser-Ney word model, spelling model for new words
    chat        rewriting by a language model: an HTTP endpoint or a local folder
    forms       case, punctuation and inflection of English words

Everything loads from local files; only `chat.Endpoint` speaks to a network, and only to the
address it is given. Import the module you need: nothing is imported here, so that whoever
wants the thesaurus does not wait for torch.
"""
