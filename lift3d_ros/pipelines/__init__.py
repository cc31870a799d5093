"""One class per task: typed input in, typed result out."""
