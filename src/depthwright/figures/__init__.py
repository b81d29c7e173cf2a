"""Pictures from the files of finished runs; nothing here runs an experiment."""
