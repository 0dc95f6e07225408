"""A folder with Triton's files to the definition of a model: text format, files, versions."""
