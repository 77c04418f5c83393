SELECT policy FROM principal WHERE id = :id AND revoked_at IS NULL FOR NO KEY UPDATE
