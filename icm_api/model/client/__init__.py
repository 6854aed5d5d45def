"""The client: each question asked once, its answer kept, limits and a budget held. It knows no wire format."""
