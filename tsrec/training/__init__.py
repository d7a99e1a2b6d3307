"""Training shared by the LLM and the SASRec baseline: mixing, packing, and a Trainer that resumes to the same bytes."""
