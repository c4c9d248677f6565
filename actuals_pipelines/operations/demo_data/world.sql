-- One tenant's order-to-cash as tables: drawn -> orders -> psp -> payout -> bank. Everything follows from the variables
-- seed, orders, days, first_day and accounts; chance is MD5 of seed and number, so that it is the same everywhere.
-- Amounts are minor units; days are counted from 0.

CREATE MACRO major(minor, decimals) AS  -- 1234 with 2 decimals is '12.34'
    CASE WHEN minor < 0 THEN '-' ELSE '' END || CASE decimals
        WHEN 0 THEN abs(minor)::VARCHAR
        WHEN 2 THEN (abs(minor) // 100)::VARCHAR || '.' || lpad((abs(minor) % 100)::VARCHAR, 2, '0')
        ELSE (abs(minor) // 1000)::VARCHAR || '.' || lpad((abs(minor) % 1000)::VARCHAR, 3, '0') END;
CREATE MACRO next_business_day(d) AS (d + CASE isodow(d) WHEN 5 THEN 3 WHEN 6 THEN 2 ELSE 1 END)::DATE;
CREATE MACRO day_of(number) AS (getvariable('first_day') + number::INTEGER)::DATE;
CREATE MACRO last_day() AS day_of(getvariable('days') - 1);
-- What a SOLL row without IST is called at the last close, due after two business days: nothing is overdue before the
-- day after its last (reconcile/MATCHING.md 3).
CREATE MACRO reasons_missing(d) AS
    [CASE WHEN next_business_day(next_business_day(d)) < last_day() THEN 'missing_ist' ELSE 'not_due' END];

CREATE TABLE money (currency VARCHAR, decimals INTEGER, fee BIGINT, cheapest BIGINT, spread BIGINT, opening BIGINT);
INSERT INTO money VALUES
    ('EUR', 2, 25, 300, 60000, 25000000), ('USD', 2, 25, 300, 60000, 12000000),
    ('JPY', 0, 30, 500, 80000, 9000000), ('KWD', 3, 80, 1000, 150000, 40000000);

CREATE TABLE drawn AS  -- a and b are 63 random bits each
SELECT i, plan.kind,
    (md5_number_lower(concat(getvariable('seed'), ':', i)) >> 1)::BIGINT AS a,
    (md5_number_upper(concat(getvariable('seed'), ':', i)) >> 1)::BIGINT AS b
FROM (SELECT range AS i, (range * 2147483647 + getvariable('seed')) % getvariable('orders') AS place
      FROM range(getvariable('orders')))
ASOF JOIN plan ON place >= plan.first_place;

CREATE TABLE orders AS
SELECT i, kind, a, b, account, o.currency, decimals, fee AS fee_step, day,
    -- Multiples of 11: no slip of one digit makes another order's number.
    'ORD-' || lpad((11 * ((i * 563811097 + getvariable('seed') * 7919) % 909090859))::VARCHAR, 10, '0') AS reference,
    'S' || lpad((i + 1)::VARCHAR, 9, '0') AS shop_id,
    cheapest + CASE WHEN a % 10 < 2
        THEN [9, 19, 29, 49, 99, 199, 399, 699][1 + b % 8] * spread // 700  -- price points: equal amounts are common
        ELSE b % spread END AS amount,
    -- Only plain orders may come after the PSP's cut-off at 23:00, when a payment is booked on the next day.
    day * 86400 + CASE kind WHEN 'plain' THEN a // 100000 % 86400 ELSE a // 100000 % 79200 END AS at_second,
    at_second // 86400 + (at_second % 86400 >= 82800)::BIGINT + CASE kind WHEN 'late' THEN 2 + b % 2 ELSE 0 END AS paid_day
FROM (SELECT i, kind, a, b, (a // 1000 % getvariable('accounts'))::INTEGER AS account,
          CASE WHEN a // 10 % 100 < 70 THEN 'EUR' WHEN a // 10 % 100 < 85 THEN 'USD'
               WHEN a // 10 % 100 < 94 THEN 'JPY' ELSE 'KWD' END AS currency,
          CASE kind WHEN 'late' THEN i % (getvariable('days') - 3)
               ELSE i * getvariable('days') // getvariable('orders') END AS day
      FROM drawn) o
JOIN money USING (currency);

CREATE TABLE shop AS  -- what the shop pushes; a refund's total is negative
SELECT i, kind, shop_id || '-' || leg AS id, shop_id AS order_id, reference, currency, decimals,
    CASE leg WHEN 1 THEN 'sale' ELSE 'refund' END AS type, CASE leg WHEN 1 THEN amount ELSE -amount END AS amount,
    leg_day AS day, CASE leg WHEN 1 THEN at_second ELSE leg_day * 86400 + 30000 + a // 7 % 20000 END AS at_second, a, b
FROM (SELECT *, CASE leg WHEN 1 THEN day ELSE least(day + 1, getvariable('days') - 1) END AS leg_day
      FROM (SELECT *, unnest(CASE kind WHEN 'refund' THEN [1, 2] ELSE [1] END) AS leg
            FROM orders WHERE kind <> 'missing_soll'));

CREATE TABLE psp_leg AS  -- leg 0: the payment; 1: what followed it
SELECT i, kind, leg, a, b, account, type, p.day, amount AS order_amount, p.reference,
    CASE type WHEN 'payment' THEN 'PAY-' WHEN 'refund' THEN 'RFD-' ELSE 'CBK-' END
        || lpad(((i * 4 + leg) * 61803398863 % 99999999977)::VARCHAR, 11, '0') AS id,
    CASE WHEN type <> 'payment' THEN 'PAY-' || lpad((i * 4 * 61803398863 % 99999999977)::VARCHAR, 11, '0') END AS first_id,
    money.currency, money.decimals,
    CASE WHEN type <> 'payment' THEN -amount
        WHEN kind = 'fee_off' THEN amount - fee_step
        WHEN kind = 'amount_off' THEN amount + (2 * fee_step + b % (4 * fee_step)) * CASE a % 2 WHEN 0 THEN 1 ELSE -1 END
        ELSE amount END AS amount,
    CASE type WHEN 'payment' THEN money.fee + amount * 14 // 1000 WHEN 'chargeback' THEN money.fee * 10 ELSE 0 END AS fee,
    CASE kind
        WHEN 'reference_in_text' THEN NULL
        WHEN 'typo' THEN left(p.reference, 13) || ((right(p.reference, 1)::INTEGER + 1 + b % 9) % 10)::VARCHAR
        ELSE p.reference END AS merchant_reference,
    CASE WHEN kind <> 'reference_in_text' THEN 'Card payment, shop ' || account
        WHEN b % 3 = 0 THEN 'Payment for ORD ' || substr(p.reference, 5) || ' thank you'
        WHEN b % 3 = 1 THEN 'ORD' || substr(p.reference, 5) || '/WEB'
        ELSE 'REF:ORD_' || substr(p.reference, 5) END AS description,
    p.day * 86400 + CASE WHEN leg = 0 AND p.day = at_second // 86400 THEN least(at_second % 86400 + 40, 82799)
        WHEN leg = 1 AND type = 'payment' THEN least(at_second % 86400 + 95, 82799)
        ELSE 300 + (a // 13 + leg) % 70000 END AS at_second
FROM (SELECT *,
          CASE WHEN leg = 0 OR kind = 'duplicate' THEN 'payment' ELSE kind END AS type,
          CASE WHEN kind = 'wrong_currency' THEN CASE currency WHEN 'EUR' THEN 'USD' ELSE 'EUR' END ELSE currency END
              AS paid_in,
          CASE WHEN leg = 0 OR kind = 'duplicate' THEN paid_day
               ELSE least(paid_day + CASE kind WHEN 'refund' THEN 1 ELSE 2 END, getvariable('days') - 1) END AS day
      FROM (SELECT * EXCLUDE (day),
                unnest(CASE WHEN kind IN ('duplicate', 'refund', 'chargeback') THEN [0, 1] ELSE [0] END) AS leg
            FROM orders WHERE kind <> 'missing_ist' AND paid_day < getvariable('days'))) p
JOIN money ON money.currency = p.paid_in;

CREATE TABLE batch AS  -- one payout per merchant account, currency and day, made when the day closes
SELECT *, 'TX' || lpad((batch * 7368787 % 9999999967)::VARCHAR, 10, '0') || 'XT' AS payout_reference,
    'PO-' || lpad(batch::VARCHAR, 11, '0') AS payout_id, 'FEE-' || lpad(batch::VARCHAR, 11, '0') AS fee_id,
    gross - monthly AS net
FROM (SELECT row_number() OVER (ORDER BY day, account, currency) + getvariable('seed') % 1000 * 1000 AS batch,
          account, currency, decimals, day, sum(amount - l.fee)::BIGINT AS gross, any_value(money.fee) * 2 AS monthly
      FROM psp_leg l JOIN money USING (currency, decimals) GROUP BY account, currency, decimals, day);

CREATE MACRO stamp(second, pattern) AS  -- seconds since the first day's midnight, in UTC
    strftime(getvariable('first_day')::TIMESTAMP + to_seconds(second), pattern);
