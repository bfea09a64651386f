"""Language models in this process: engines that write text, and what they share."""
