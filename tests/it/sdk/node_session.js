'use strict';

/*
 * A working day of an application that uses node-vault: reads, writes and tokens through the library's own calls.
 *
 *     VAULT_ADDR=URL NODE_PATH=NODE_MODULES node node_session.js PLAN.json
 *
 * Plan and output: `session.py`. node-vault knows nothing of KV versions; applications write the API paths themselves,
 * as is done here. It sends whatever it is given as JSON, so there is no step with a broken body.
 *
 * What this client depends on: the LIST method, POST for writes, PATCH with `application/merge-patch+json`, integer
 * versions, no `X-Vault-Request` header, only 200 and 204 counting as success (the 404 of a deleted version is an error
 * whose body is at hand), an `errors` array in error bodies, and no body at all on 204.
 */

const fs = require('fs');
const nodeVault = require('node-vault');

const REFUSED = [403, 405];
const FIRST = {
  user: 'app',
  password: 'made-up-first',
  unicode: 'grüße, 雪 & <tags>',
  lines: 'one\ntwo\ttabbed "quoted" \\ back',
  number: 1234567890123,
  fraction: 0.25,
  flag: true,
  nothing: null,
  empty: '',
  nested: { list: [1, 'two', { three: 3 }], object: {} },
};
const SECOND = { user: 'app', password: 'made-up-second' };
const CUSTOM_METADATA = { owner: 'sdk-session', rotation: '30d' };
const CUSTOM_METADATA_PATCH = { rotation: '7d', extra: 'yes' };
const KV1_VALUE = { user: 'one', password: 'made-up-kv1', number: 7 };
const UNKNOWN_TOKEN = 's.unknownunknownunknownun';
const UNKNOWN_SECRET_ID = '00000000-0000-4000-8000-000000000000';

const address = process.env.VAULT_ADDR;
const plan = readPlan();
const steps = [];
let lastStatus = null;

function readPlan() {
  try {
    if (!address) throw new Error('VAULT_ADDR is not set');
    return JSON.parse(fs.readFileSync(process.argv[2], 'utf8'));
  } catch (error) {
    console.error(`usage: VAULT_ADDR=URL node node_session.js PLAN.json (${error.message})`);
    process.exit(2);
  }
}

async function main() {
  delete process.env.VAULT_TOKEN;
  delete process.env.VAULT_NAMESPACE;
  const vault = await connect();
  await server(vault);
  await reads(vault);
  if (plan.writable_prefix) {
    await writes(vault);
    await metadata(vault);
  }
  if (plan.kv1_mount) await kv1(vault);
  await refusals(vault);
  await wrapping(vault);
  await tokens(vault);

  process.stdout.write(`${JSON.stringify(steps, null, 1)}\n`);
  const wrong = steps.filter((step) => !step.expected);
  wrong.forEach((step) => console.error(`${step.step}: status ${step.status}, ${JSON.stringify(step.errors)}`));
  process.exitCode = wrong.length ? 1 : 0;
}

/** Records one step; `want` is the status or the statuses that are expected. Answers the data of a success, else null. */
async function step(name, want, call) {
  if ((plan.skip || []).includes(name)) return null;
  lastStatus = null;
  const record = { step: name, ok: true, status: null, data: null, errors: [], raised: null };
  try {
    const data = await call();
    record.data = data === undefined || data === '' ? null : data;
  } catch (error) {
    const body = error.response && error.response.body;
    record.ok = false;
    record.data = (body && body.data) || null;
    record.errors = (body && body.errors) || [error.message];
    record.raised = error.response ? 'ApiResponseError' : error.code || error.name;
  }
  record.status = lastStatus;
  record.expected = [].concat(want).includes(lastStatus);
  steps.push(record);
  return record.ok ? record.data : null;
}

/** An unmodified client; its own hook for responses also notes the status, which a success does not carry. */
function newClient(token) {
  const vault = nodeVault({ endpoint: address, token, namespace: plan.namespace || undefined });
  const handle = vault.handleVaultResponse;
  vault.handleVaultResponse = (response) => {
    lastStatus = response.statusCode;
    return handle(response);
  };
  return vault;
}

async function connect() {
  if (!plan.approle) return newClient(plan.token || undefined);
  const { role_id, secret_id, mount } = plan.approle;
  const vault = newClient();
  const login = (role, secret) => vault.approleLogin({ role_id: role, secret_id: secret, mount_point: mount || 'approle' });
  await step('login_bad_secret', 400, () => login(role_id, UNKNOWN_SECRET_ID));
  await step('login', 200, () => login(role_id, secret_id)); // node-vault goes on with the token it got
  return vault;
}

async function server(vault) {
  const data = `${plan.kv2_mount}/data/`;
  const capabilities = (path) => vault.write('sys/capabilities-self', { paths: [path] });
  await step('health', 200, () => vault.health());
  await step('seal_status', 200, () => vault.status());
  await step('leader', 200, () => vault.leader());
  await step('initialized', 200, () => vault.initialized());
  await step('lookup_self', 200, () => vault.tokenLookupSelf());
  await step('capabilities_readonly', 200, () => capabilities(`${data}${plan.readonly_prefix}/db`));
  if (plan.writable_prefix) await step('capabilities_writable', 200, () => capabilities(`${data}${plan.writable_prefix}/one`));
  await step('capabilities_denied', 200, () => capabilities(data + plan.denied_path));
  await step('preflight_mount', 200, () => vault.read(`sys/internal/ui/mounts/${plan.kv2_mount}`));
  await step('preflight_path', 200, () => vault.read(`sys/internal/ui/mounts/${plan.kv2_mount}/${plan.readonly_prefix}/db`));
  if (plan.approle && plan.token) {
    const other = newClient(plan.token);
    await step('static_token_lookup', 200, () => other.tokenLookupSelf());
    await step('static_token_read', 200, () => other.read(`${data}${plan.readonly_prefix}/db`));
  }
}

async function reads(vault) {
  const data = `${plan.kv2_mount}/data/${plan.readonly_prefix}`;
  const about = `${plan.kv2_mount}/metadata/${plan.readonly_prefix}`;
  await step('list', 200, () => vault.list(about));
  await step('list_trailing_slash', 200, () => vault.list(`${about}/`));
  await step('list_nested', 200, () => vault.list(`${about}/nested`));
  await step('list_missing', 404, () => vault.list(`${about}/missing`));
  await step('read', 200, () => vault.read(`${data}/db`));
  await step('read_version_1', 200, () => vault.read(`${data}/db?version=1`));
  await step('read_version_2', 200, () => vault.read(`${data}/db?version=2`));
  await step('read_version_missing', 404, () => vault.read(`${data}/db?version=99`));
  await step('read_nested', 200, () => vault.read(`${data}/nested/deep`));
  await step('read_missing', 404, () => vault.read(`${data}/missing`));
  await step('read_folder', 404, () => vault.read(`${data}/nested`));
  await step('read_deleted', 404, () => vault.read(`${data}/gone`));
  await step('read_destroyed', 404, () => vault.read(`${data}/destroyed?version=1`));
  await step('metadata', 200, () => vault.read(`${about}/db`));
  await step('metadata_missing', 404, () => vault.read(`${about}/missing`));
  await step('subkeys', 200, () => vault.read(`${plan.kv2_mount}/subkeys/${plan.readonly_prefix}/db`));

  const want = (status) => (plan.expect_readonly ? REFUSED : status);
  const probe = `${plan.readonly_prefix}/probe-node`;
  await step('write_readonly', want(200), () => vault.write(`${plan.kv2_mount}/data/${probe}`, { data: SECOND }));
  await step('patch_readonly', want(200), () => vault.update(`${plan.kv2_mount}/data/${probe}`, { data: { password: 'made-up' } }));
  await step('delete_readonly', want(204), () => vault.delete(`${plan.kv2_mount}/data/${probe}`));
  await step('destroy_readonly', want(204), () => vault.write(`${plan.kv2_mount}/destroy/${probe}`, { versions: [1] }));
  await step('metadata_write_readonly', want(204), () => vault.write(`${plan.kv2_mount}/metadata/${probe}`, { custom_metadata: CUSTOM_METADATA }));
  await step('metadata_delete_readonly', want(204), () => vault.delete(`${plan.kv2_mount}/metadata/${probe}`));
}

async function writes(vault) {
  const at = (kind, path = `${plan.writable_prefix}/one`) => `${plan.kv2_mount}/${kind}/${path}`;
  const put = (data, cas) => vault.write(at('data'), cas === undefined ? { data } : { options: { cas }, data });
  const read = (name, want, version) => step(name, want, () => vault.read(at('data') + (version ? `?version=${version}` : '')));

  await step('write_create', 200, () => put(FIRST, 0));
  await read('write_create_read', 200);
  await step('cas_create_again', 400, () => put(SECOND, 0));
  await step('cas_write', 200, () => put(SECOND, 1));
  await step('cas_mismatch', 400, () => put(SECOND, 1));
  await step('write_no_cas', 200, () => put({ password: 'made-up-third' }));
  await step('patch', 200, () => vault.update(at('data'), { data: { password: 'made-up-patched', added: 'by-patch' } }));
  await read('patch_read', 200);
  await step('patch_remove', 200, () => vault.update(at('data'), { options: { cas: 4 }, data: { added: null } }));
  await step('patch_cas_mismatch', 400, () => vault.update(at('data'), { options: { cas: 1 }, data: { added: 'no' } }));
  await step('patch_missing', 404, () => vault.update(at('data', `${plan.writable_prefix}/missing`), { data: { added: 'no' } }));
  await read('write_read_version_1', 200, 1);
  await step('delete_latest', 204, () => vault.delete(at('data')));
  await read('delete_latest_read', 404);
  await step('undelete', 204, () => vault.write(at('undelete'), { versions: [5] }));
  await read('undelete_read', 200);
  await step('delete_versions', 204, () => vault.write(at('delete'), { versions: [1, 2] }));
  await read('delete_versions_read', 404, 1);
  await step('destroy_versions', 204, () => vault.write(at('destroy'), { versions: [2] }));
  await read('destroy_versions_read', 404, 2);
  await step('undelete_destroyed', 204, () => vault.write(at('undelete'), { versions: [2] }));
  await read('undelete_destroyed_read', 404, 2);
  await step('write_no_data', 400, () => vault.write(at('data'), { value: 'made-up' }));
  await step('subkeys_written', 200, () => vault.read(`${at('subkeys')}?version=4`));
}

async function metadata(vault) {
  const about = `${plan.kv2_mount}/metadata/${plan.writable_prefix}`;
  const data = `${plan.kv2_mount}/data/${plan.writable_prefix}`;
  await step('metadata_versions', 200, () => vault.read(`${about}/one`));
  await step('metadata_put', 204, () => vault.write(`${about}/one`, { custom_metadata: CUSTOM_METADATA }));
  await step('metadata_put_read', 200, () => vault.read(`${about}/one`));
  await step('metadata_patch', 204, () => vault.update(`${about}/one`, { custom_metadata: CUSTOM_METADATA_PATCH }));
  await step('metadata_patch_read', 200, () => vault.read(`${about}/one`));
  await step('metadata_in_value', 200, () => vault.read(`${data}/one`));
  await step('write_second_path', 200, () => vault.write(`${data}/deeper/two`, { data: SECOND }));
  await step('list_written', 200, () => vault.list(about));
  await step('metadata_delete', 204, () => vault.delete(`${about}/one`));
  await step('metadata_delete_read', 404, () => vault.read(`${data}/one`));
  await step('metadata_delete_second', 204, () => vault.delete(`${about}/deeper/two`));
  await step('list_emptied', 404, () => vault.list(about));
}

async function kv1(vault) {
  const base = `${plan.kv1_mount}/${plan.readonly_prefix}`;
  await step('kv1_read', 200, () => vault.read(`${base}/one`));
  await step('kv1_read_missing', 404, () => vault.read(`${base}/missing`));
  await step('kv1_list', 200, () => vault.list(base));
  if (!plan.writable_prefix) return;
  const folder = `${plan.kv1_mount}/${plan.writable_prefix}`;
  await step('kv1_write', 204, () => vault.write(`${folder}/one`, KV1_VALUE));
  await step('kv1_write_read', 200, () => vault.read(`${folder}/one`));
  await step('kv1_overwrite', 204, () => vault.write(`${folder}/one`, { user: 'two' }));
  await step('kv1_overwrite_read', 200, () => vault.read(`${folder}/one`));
  await step('kv1_list_written', 200, () => vault.list(folder));
  await step('kv1_delete', 204, () => vault.delete(`${folder}/one`));
  await step('kv1_delete_read', 404, () => vault.read(`${folder}/one`));
}

async function refusals(vault) {
  const known = `${plan.kv2_mount}/data/${plan.readonly_prefix}/db`;
  const denied = `${plan.kv2_mount}/data/${plan.denied_path}`;
  const about = `${plan.kv2_mount}/metadata/${plan.denied_path}`;
  const unknown = newClient(UNKNOWN_TOKEN);
  const nobody = newClient();
  await step('unknown_token_read', 403, () => unknown.read(known));
  await step('unknown_token_lookup', 403, () => unknown.tokenLookupSelf());
  await step('no_token_read', 403, () => nobody.read(known));
  await step('no_token_write', 403, () => nobody.write(known, { data: SECOND }));
  await step('denied_read', 403, () => vault.read(denied));
  await step('denied_missing', 403, () => vault.read(`${denied}-missing`));
  await step('denied_write', 403, () => vault.write(denied, { data: SECOND }));
  await step('denied_delete', 403, () => vault.delete(denied));
  await step('denied_metadata', 403, () => vault.read(about));
  await step('denied_list', 403, () => vault.list(about.slice(0, about.lastIndexOf('/'))));
  await step('unknown_mount_read', 403, () => vault.read(`${plan.unknown_mount}/any`));
  await step('unknown_mount_list', 403, () => vault.list(`${plan.unknown_mount}/any`));
  await step('unknown_mount_preflight', 403, () => vault.read(`sys/internal/ui/mounts/${plan.unknown_mount}`));
}

async function wrapping(vault) {
  const path = `${plan.kv2_mount}/data/${plan.readonly_prefix}/db`;
  const wrapped = await step('wrapped_read', plan.expect_wrap ? 200 : 400, () => vault.read(path, { headers: { 'X-Vault-Wrap-TTL': '60s' } }));
  if (!plan.expect_wrap || !wrapped) return;
  const other = newClient(wrapped.wrap_info.token);
  await step('unwrap', 200, () => other.unwrap());
  await step('unwrap_again', [400, 403], () => other.unwrap());
}

async function tokens(vault) {
  if (plan.approle || plan.token) {
    await step('renew_self', 200, () => vault.tokenRenewSelf());
    await step('renew_self_increment', 200, () => vault.tokenRenewSelf({ increment: '30m' }));
    await step('renew_self_lookup', 200, () => vault.tokenLookupSelf());
  }
  if (plan.child_policies) await childToken(vault);
  if (plan.approle) {
    await step('revoke_self', 204, () => vault.tokenRevokeSelf());
    await step('revoke_self_lookup', 403, () => vault.tokenLookupSelf());
    await step('revoke_self_read', 403, () => vault.read(`${plan.kv2_mount}/data/${plan.readonly_prefix}/db`));
  }
}

async function childToken(vault) {
  const known = `${plan.kv2_mount}/data/${plan.readonly_prefix}/db`;
  // tokenCreate makes its client go on with the child's token, so the parent gets a client of its own for it.
  const parent = newClient(vault.token);
  await step('child_superset', 400, () => parent.tokenCreate({ policies: [...plan.child_policies, 'not-mine'], ttl: '5m' }));
  const made = await step('child_create', 200, () => parent.tokenCreate({
    policies: plan.child_policies, ttl: '5m', meta: { purpose: 'sdk-session' }, display_name: 'sdk-session',
  }));
  if (!made) return;
  const child = newClient(made.auth.client_token);
  await step('child_lookup', 200, () => child.tokenLookupSelf());
  await step('child_read', 200, () => child.read(known));
  if (plan.writable_prefix) {
    await step('child_write', 403, () => child.write(`${plan.kv2_mount}/data/${plan.writable_prefix}/child`, { data: SECOND }));
  }
  await step('child_renew', 200, () => child.tokenRenewSelf());
  await step('child_revoke', 204, () => child.tokenRevokeSelf());
  await step('child_after_revoke_lookup', 403, () => child.tokenLookupSelf());
  await step('child_after_revoke_read', 403, () => child.read(known));
}

main().catch((error) => {
  console.error(error);
  process.exit(2);
});
