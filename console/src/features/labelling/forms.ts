import type { LabelQueue } from '@/api/types'
import ChoiceAnswer from './ChoiceAnswer.vue'
import ClassAnswer from './ClassAnswer.vue'
import EditAnswer from './EditAnswer.vue'
import SpansAnswer from './SpansAnswer.vue'

const ANSWERS = { text: ClassAnswer, spans: SpansAnswer, chat: EditAnswer, pair: ChoiceAnswer, preference: ChoiceAnswer, rating: ChoiceAnswer }

/** How rows of a queue are answered. */
export const answerOf = ({ form }: LabelQueue) => ANSWERS[form]
