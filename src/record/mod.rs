//! Record batches v2: header, validation, records, compression (tier T1).
