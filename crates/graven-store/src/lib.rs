//! Storage contracts and drivers: the file seam, the journal, write-once objects.
