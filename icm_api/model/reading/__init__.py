"""Reading: prompts into requests, and the bodies of answers into log probabilities of labels."""
