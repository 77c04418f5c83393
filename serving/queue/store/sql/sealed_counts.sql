SELECT 'body' AS what, substr(body, 1, 4) AS key, count(*) AS count FROM message WHERE length(body) > 0 GROUP BY substr(body, 1, 4)
UNION ALL
SELECT 'address' AS what, substr(address, 1, 4) AS key, count(*) AS count FROM notification WHERE length(address) > 0 GROUP BY substr(address, 1, 4)
UNION ALL
SELECT 'recipient' AS what, substr(address, 1, 4) AS key, count(*) AS count FROM recipient WHERE length(address) > 0 GROUP BY substr(address, 1, 4)
UNION ALL
SELECT 'certificate' AS what, substr(certificate, 1, 4) AS key, count(*) AS count FROM recipient WHERE length(certificate) > 0 GROUP BY substr(certificate, 1, 4)
UNION ALL
SELECT 'envelope' AS what, substr(body, 1, 4) AS key, count(*) AS count FROM envelope WHERE length(body) > 0 GROUP BY substr(body, 1, 4)
UNION ALL
SELECT 'escalation' AS what, substr(chain, 1, 4) AS key, count(*) AS count FROM escalation WHERE length(chain) > 0 GROUP BY substr(chain, 1, 4)
