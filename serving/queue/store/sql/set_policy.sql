UPDATE principal SET policy = :policy WHERE id = :id
