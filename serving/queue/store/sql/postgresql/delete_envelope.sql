DELETE FROM envelope WHERE notification IN (SELECT (value ->> 'id')::bigint FROM json_array_elements(:rows::json))
