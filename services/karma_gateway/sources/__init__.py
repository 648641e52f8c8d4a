"""Sources of prompts: files of any format, folders, standard input, datasets, Redis streams."""
