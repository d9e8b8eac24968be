'use strict';

/*
 * The JavaScript SDK (@aws-sdk/client-secrets-manager) at the calls of `aws_steps.json`.
 *
 *     NODE_PATH=NODE_MODULES node aws_session.js PLAN.json
 *
 * Plan, steps and output: `aws_session.py`. What this client depends on beyond boto3: every header it sends is signed, lower
 * case, with the body's hash and length; the error's name may come from `x-amzn-errortype` alone; times are numbers.
 */

const crypto = require('crypto');
const fs = require('fs');
const path = require('path');
const sdk = require('@aws-sdk/client-secrets-manager');

const plan = readPlan();
const words = {
  app: plan.readonly_prefix,
  own: plan.writable_prefix,
  denied: plan.denied,
  region: plan.region,
  account: plan.account,
  token: tokenPrefix(plan.writable_prefix),
};
const returned = {};

function readPlan() {
  try {
    return JSON.parse(fs.readFileSync(process.argv[2], 'utf8'));
  } catch (error) {
    console.error(`usage: node aws_session.js PLAN.json (${error.message})`);
    process.exit(2);
  }
}

async function main() {
  const steps = JSON.parse(fs.readFileSync(path.join(__dirname, 'aws_steps.json'), 'utf8'));
  const own = { accessKeyId: process.env.AWS_ACCESS_KEY_ID };
  const clients = {
    own: new sdk.SecretsManagerClient(),
    unknown: new sdk.SecretsManagerClient({ credentials: { accessKeyId: 'AKIAUNKNOWNUNKNOWN00', secretAccessKey: 'made-up-unknown' } }),
    wrong: new sdk.SecretsManagerClient({ credentials: { ...own, secretAccessKey: 'made-up-wrong' } }),
  };
  const records = [];
  for (const step of steps) {
    if (step.only === 'proxied' && !plan.is_proxied) continue;
    records.push(await record(clients[step.as || 'own'], step));
  }
  process.stdout.write(`${JSON.stringify(records, null, 1)}\n`);
  const wrong = plan.is_proxied ? records.filter((step) => !step.expected) : [];
  wrong.forEach((step) => console.error(`${step.step}: status ${step.status}, code ${step.code}, ${step.message}`));
  process.exitCode = wrong.length ? 1 : 0;
}

async function record(client, step) {
  const record = {
    step: step.step, ok: false, status: null, data: null, code: null, message: null, raised: null, retries: null, has_request_id: null,
  };
  try {
    const answer = await call(client, step, filled(step.in));
    const { $metadata: about, ...data } = answer;
    record.ok = true;
    record.data = plain(data);
    returned[step.step] = record.data;
    if (about) note(record, about);
  } catch (error) {
    if (error.$metadata) {
      record.code = error.name;
      record.raised = error instanceof sdk.SecretsManagerServiceException ? error.constructor.name : error.name;
      note(record, error.$metadata);
    } else {
      record.raised = error.name;
    }
    record.message = error.message;
  }
  const outcome = record.ok ? 'ok' : record.code;
  record.expected = [].concat(step.want).includes(outcome) && (record.ok || !step.text || step.text === record.message);
  return record;
}

async function call(client, step, parameters) {
  if (parameters.SecretBinary) parameters.SecretBinary = Buffer.from(parameters.SecretBinary, 'base64');
  if (step.paginate) {
    const { MaxResults: pageSize, ...rest } = parameters;
    const SecretList = [];
    for await (const page of sdk[`paginate${step.call}`]({ client, pageSize }, rest)) SecretList.push(...(page.SecretList || []));
    return { SecretList };
  }
  return client.send(new sdk[`${step.call}Command`](parameters));
}

function note(record, about) {
  record.status = about.httpStatusCode ?? null;
  record.retries = (about.attempts || 1) - 1;
  record.has_request_id = Boolean(about.requestId);
}

/** What the SDK returns as JSON. */
function plain(value) {
  if (value instanceof Date) return value.toISOString();
  if (value instanceof Uint8Array) return Buffer.from(value).toString('base64');
  if (Array.isArray(value)) return value.map(plain);
  if (value && typeof value === 'object') {
    return Object.fromEntries(Object.entries(value).filter(([, item]) => item !== undefined).map(([name, item]) => [name, plain(item)]));
  }
  return value;
}

function filled(value) {
  if (Array.isArray(value)) return value.map(filled);
  if (value && typeof value === 'object') return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, filled(item)]));
  if (typeof value !== 'string') return value;
  return value.replace(/\$\{([a-z_]+)(?:\.([A-Za-z]+))?\}/g, (_, name, field) => {
    const word = field ? (returned[name] || {})[field] : words[name];
    if (typeof word !== 'string') {
      const unknown = new Error(`${name}.${field} was not returned`);
      unknown.name = 'Unknown';
      throw unknown;
    }
    return word;
  });
}

function tokenPrefix(own) {
  const digits = crypto.createHash('sha256').update(own).digest('hex');
  return `${digits.slice(0, 8)}-${digits.slice(8, 12)}-4${digits.slice(12, 15)}-8${digits.slice(15, 18)}`;
}

main().catch((error) => {
  console.error(error);
  process.exit(2);
});
