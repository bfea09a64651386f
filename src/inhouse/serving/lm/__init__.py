"""Language models, encoders and rerankers in this process, and servers of theirs that it watches over."""
