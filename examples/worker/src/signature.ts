// Standard Webhooks 1.0.0 (symmetric, v1) with WebCrypto alone: made for receipts, checked for webhooks.

const TOLERANCE_S = 300;

/** As Standard Webhooks has it. */
const KEY_BYTES_MIN = 24;
/** Of one header; while the secret is being changed there are two. */
const CODES_MAX = 8;

/** The keys behind one or two `whsec_` lines: the old and the new one while a secret is being changed. One
 *  that is short, or is not what was meant, makes signatures that others can make too. */
export async function keys(secrets: string): Promise<CryptoKey[]> {
  const lines = secrets.split(/\s+/).filter((line) => line !== "");
  if (lines.length !== 1 && lines.length !== 2) throw new Error("one secret is needed, or the old one and the new one");
  return Promise.all(
    lines.map((line, index) => {
      if (!line.startsWith("whsec_")) throw new Error(`secret ${index + 1} lacks whsec_`);
      const key = bytes(line.slice("whsec_".length));
      if (key.length < KEY_BYTES_MIN) throw new Error(`secret ${index + 1} is not base64 of ${KEY_BYTES_MIN} bytes or more`);
      return crypto.subtle.importKey("raw", key, { name: "HMAC", hash: "SHA-256" }, false, ["sign", "verify"]);
    }),
  );
}

/** Whether the raw body was signed with one of the keys, at a time near `now` (Unix milliseconds). */
export async function verify(keys: CryptoKey[], headers: Headers, body: Uint8Array, now: number): Promise<boolean> {
  const id = headers.get("webhook-id");
  const timestamp = headers.get("webhook-timestamp") ?? "";
  if (!id || !/^\d+$/.test(timestamp)) return false;
  if (Math.abs(now / 1000 - Number(timestamp)) > TOLERANCE_S) return false;
  const content = signed(id, timestamp, body);
  for (const part of (headers.get("webhook-signature") ?? "").split(" ", CODES_MAX)) {
    if (!part.startsWith("v1,")) continue;
    const code = bytes(part.slice("v1,".length));
    for (const key of keys) {
      // WebCrypto compares in constant time.
      if (await crypto.subtle.verify("HMAC", key, code, content)) return true;
    }
  }
  return false;
}

/** The three headers of a request that is signed at `now`. */
export async function sign(key: CryptoKey, id: string, body: string, now: number): Promise<Record<string, string>> {
  const timestamp = String(Math.floor(now / 1000));
  const code = await crypto.subtle.sign("HMAC", key, signed(id, timestamp, new TextEncoder().encode(body)));
  const text = btoa(String.fromCharCode(...new Uint8Array(code)));
  return { "webhook-id": id, "webhook-timestamp": timestamp, "webhook-signature": `v1,${text}` };
}

function signed(id: string, timestamp: string, body: Uint8Array): Uint8Array<ArrayBuffer> {
  const head = new TextEncoder().encode(`${id}.${timestamp}.`);
  const whole = new Uint8Array(head.length + body.length);
  whole.set(head);
  whole.set(body, head.length);
  return whole;
}

/** Of base64; nothing for what is not. */
function bytes(text: string): Uint8Array<ArrayBuffer> {
  try {
    return Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  } catch {
    return new Uint8Array(0);
  }
}
