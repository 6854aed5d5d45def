"""What a label costs: this library beside the algorithm as it was published, on one learner and one ruler."""
