import { t } from '@/locale'

/** Names of the settings within rules that the console has words for; of others it shows what the schema says. */
const NAMED = [
  'action',
  'burst_s',
  'classifier',
  'connect_s',
  'cost',
  'each',
  'endpoints',
  'finds',
  'first_token_s',
  'idle_s',
  'ignore_case',
  'input',
  'kind',
  'labels',
  'max_running',
  'model',
  'name',
  'output',
  'patterns',
  'per_model',
  'period',
  'requests_per_minute',
  'restore',
  'subject',
  'threshold',
  'tokens',
  'tokens_per_minute',
  'total_s',
  'where',
  'words',
] as const

export const isNamed = (name: string): name is (typeof NAMED)[number] => (NAMED as readonly string[]).includes(name)

/** Values to choose from that have words; others, such as names of endpoints, are shown as they are. */
const OPTIONS = [
  'block',
  'both',
  'classifier',
  'day',
  'flag',
  'input',
  'key',
  'mask',
  'month',
  'output',
  'pii',
  'regex',
  'session',
  'team',
  'total',
  'user',
  'week',
  'words',
  'workspace',
  'email',
  'phone',
  'id_card',
  'card',
  'secret',
] as const

const isKnownOption = (name: string): name is (typeof OPTIONS)[number] => (OPTIONS as readonly string[]).includes(name)

export function wordOfOption(option: string): string {
  if (option === '') return t('gw.automatic')
  return isKnownOption(option) ? t(`gw.option.${option}`) : option
}
